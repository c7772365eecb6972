//! The program as its users run it.

mod corpus;
mod demo;
mod offline;
