//! The oven of several stories.

/// `acme/oven`, a device of Modbus: a setpoint from 0 to 100 (holding 100) and a switch (coil 3) that can be written, a temperature (holding 0) and a
/// counter (holding 10), read every 50 ms in the group `all`.
pub const OVEN: &str = r#"
[profile]
manufacturer = "Acme"
model = "Oven"
driver = "modbus"
version = 1

[[group]]
name = "all"
interval = "50ms"

[[tag]]
name = "setpoint"
group = "all"
table = "holding"
address = 100
type = "i16"
scale = 0.1
access = "read_write"
minimum = 0.0
maximum = 100.0

[[tag]]
name = "temperature"
group = "all"
table = "holding"
address = 0
type = "i16"
scale = 0.1
unit = "°C"
range = { low = -50.0, high = 300.0 }

[[tag]]
name = "heating"
group = "all"
table = "coil"
address = 3
type = "bool"
access = "read_write"

[[tag]]
name = "counter"
group = "all"
table = "holding"
address = 10
type = "u32"
"#;
