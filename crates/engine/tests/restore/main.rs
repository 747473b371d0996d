//! Restores, from the files of real binaries and from damaged ones.

mod damage;
mod model;
mod outputs;
mod support;
mod v3;
mod vectors;
