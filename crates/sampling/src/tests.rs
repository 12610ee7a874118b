//! Cases made by hand, and random ones against a slow second implementation.

mod cases;
mod random;
mod slow;
