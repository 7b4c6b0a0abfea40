//! What the codec writes is what the public page and FORMAT.md say, and what it has ever written is still read.

#[cfg(test)]
mod block;
#[cfg(test)]
mod block_golden;
#[cfg(test)]
mod block_hostile;
#[cfg(test)]
mod block_parts;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod json;
