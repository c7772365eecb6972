//! The path tried whole: real policies, ports in memory.

mod held;
mod path;
mod results;
mod support;
