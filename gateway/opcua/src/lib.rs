//! The gateway as an OPC UA server: devices and tags for the systems above.
