//! The mqtt target against a broker that does what each test says.

mod acknowledgements;
mod certificates;
mod outages;
mod refusals;
mod scene;
