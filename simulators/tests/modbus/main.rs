//! The simulated Modbus devices as a client on the network sees them.

#[cfg(test)]
mod command;
#[cfg(test)]
mod exchanges;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod values;
