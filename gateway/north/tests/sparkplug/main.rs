//! The target with `format = "sparkplug_b"` against a broker that does what the test says.

mod broker;
mod deliveries;
mod hosts;
mod scene;
