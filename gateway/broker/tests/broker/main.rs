//! The broker from outside, over its sockets.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod library;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod retained;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod standard;
#[cfg(test)]
mod wills;
