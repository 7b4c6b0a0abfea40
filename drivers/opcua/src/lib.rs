//! The driver for OPC UA servers.
