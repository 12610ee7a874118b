//! Text in and out, against what other engines make of the same files, and against hostile input.

mod data;
mod detokenize;
mod fixture;
mod formats;
mod hostile_templates;
mod hostile_texts;
mod hostile_vocabularies;
mod models;
mod references;
mod stop;
mod templates;
mod tokenize;
mod vocabularies;
