//! Tests that need more than one module of `stats`, or a recorded file.

mod properties;
mod reference;
mod simulation;
