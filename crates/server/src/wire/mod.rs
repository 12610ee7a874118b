//! The JSON of requests and answers. A body is parsed once, into types that need no further checks.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod fields;
pub(crate) mod job;
pub(crate) mod messages;
pub(crate) mod prompt;
pub(crate) mod refused;
pub(crate) mod sampling;
