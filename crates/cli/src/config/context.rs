//! What every section of a file is read with: variables, and how strictly.

use std::cell::RefCell;

use super::environment::{Environment, Lookup};
use super::problem::Problem;
use super::yaml::{Node, Value};

/// Variables, strictness, and what was found that is no error.
#[derive(Debug)]
pub struct Context<'a> {
    /// Fills in variables.
    pub environment: Environment<'a>,
    strict: bool,
    warnings: RefCell<Vec<Problem>>,
}

impl<'a> Context<'a> {
    /// Marks the variables in `text`; without `lookup`, dollar signs mean nothing.
    pub fn mark(
        text: &str,
        lookup: Option<Lookup<'a>>,
    ) -> Result<(String, Environment<'a>), Problem> {
        match lookup {
            Some(lookup) => Environment::mark(text, lookup),
            None => {
                Environment::mark("", &|_| None).map(|(_, none)| (text.replace('$', "$$"), none))
            }
        }
    }

    /// The context for the file that `root` is.
    pub fn new(environment: Environment<'a>, root: &Node) -> Context<'a> {
        let strict = !is_lax(root);
        Context { environment, strict, warnings: RefCell::default() }
    }

    /// A key without a meaning: an error, unless the file is lax.
    pub fn meaningless(&self, problem: Problem) -> Result<(), Problem> {
        if self.strict {
            return Err(problem);
        }
        self.warn(problem);
        Ok(())
    }

    /// Something that the user should hear of.
    pub fn warn(&self, problem: Problem) {
        self.warnings.borrow_mut().push(problem);
    }

    /// All that they should hear of.
    pub fn into_warnings(self) -> Vec<Problem> {
        self.warnings.into_inner()
    }
}

/// `strict: false`, found before any key is checked. That it is a truth value is checked with the
/// others.
fn is_lax(root: &Node) -> bool {
    let Value::Map(entries) = &root.value else { return false };
    let is = |node: &Node, word: &str| matches!(&node.value, Value::Scalar(text) if text.eq_ignore_ascii_case(word));
    let no = |node: &Node| ["false", "no", "off", "n"].iter().any(|word| is(node, word));
    entries.iter().any(|(key, value)| is(key, "strict") && no(value))
}
