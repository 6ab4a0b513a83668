//! The program as a whole, a module per concern.

mod agents;
mod amplify;
mod bad_input;
mod calibrate;
mod ci;
mod cluster;
mod compare;
mod driver;
mod export;
mod faults;
mod gate;
mod history;
mod intake;
mod kubernetes;
mod lifecycle;
mod observe;
mod peers;
mod records;
mod resume;
mod runs;
mod scenario;
mod schema;
mod setup;
mod support;
mod tools;
