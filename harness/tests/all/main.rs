//! The program as a whole, a module per concern.

mod bad_input;
mod calibrate;
mod ci;
mod driver;
mod gate;
mod lifecycle;
mod records;
mod resume;
mod scenario;
mod schema;
mod support;
mod tools;
