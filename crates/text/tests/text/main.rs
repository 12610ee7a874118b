//! Text in and out, against what other engines make of the same files, and against hostile input.

mod data;
mod models;
mod templates;
mod vocabularies;
