//! Restores, from the files of real binaries and from damaged ones.

mod damage;
mod outputs;
mod support;
mod vectors;
