//! Text in and out, against what other engines make of the same files, and against hostile input.

mod data;
mod detokenize;
mod fixture;
mod models;
mod stop;
mod templates;
mod tokenize;
mod vocabularies;
