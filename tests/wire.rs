//! The protocol against its vectors, and against what enemies may send.

mod fitting;
mod message;
mod properties;
mod reading;
mod streams;
mod vectors;
