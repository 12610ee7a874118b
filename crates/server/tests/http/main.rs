//! The routes over a real socket, with an executor that computes nothing: what clients see, and what happens when they
//! leave, flood, crawl or send nonsense. A gate holds steps where a test must act in the middle of one.

mod abort;
mod bad_input;
mod chat;
mod client;
mod completions;
mod drain;
mod embeddings;
mod executor;
mod limits;
mod native;
mod pages;
mod served;
mod slow;
mod stream;
