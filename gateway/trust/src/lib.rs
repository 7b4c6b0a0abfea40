//! The application certificate of the gateway and the lists of certificates that it trusts, refuses, or has been shown and not yet judged.
