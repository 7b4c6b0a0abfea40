//! One poll after the other through the stages of a group, as the runtime does it.

#[cfg(test)]
mod arrivals;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod expressions;
#[cfg(test)]
mod group;
#[cfg(test)]
mod invalid;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod polls;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod roundings;
#[cfg(test)]
mod writes;
