//! Where faults, warnings, origins and declarations are gathered while a file is checked.

use std::cell::RefCell;

use super::super::tree::At;
use super::super::{Fault, Origins, Place, Vars, vars};
use super::form::{Declaration, Form};

/// The faults of one file so far, and what is needed to read its values.
pub(super) struct Report<'v> {
    file: &'v str,
    vars: &'v dyn Vars,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
    origins: RefCell<Origins>,
    declared: RefCell<Vec<Declaration>>,
}

/// What was gathered.
pub(super) struct Gathered {
    /// What is wrong, in the order of the file.
    pub(super) faults: Vec<Fault>,
    /// What is accepted and has no effect, in the order of the file.
    pub(super) warnings: Vec<Fault>,
    /// Where each setting is written.
    pub(super) origins: Origins,
    /// Every setting that was looked for, written or not.
    pub(super) declared: Vec<Declaration>,
}

impl<'v> Report<'v> {
    pub(super) fn new(file: &'v str, vars: &'v dyn Vars) -> Self {
        Self {
            file,
            vars,
            faults: RefCell::default(),
            warnings: RefCell::default(),
            origins: RefCell::default(),
            declared: RefCell::default(),
        }
    }

    pub(super) fn place(&self, at: At) -> Place {
        Place { source: self.file.to_owned(), position: Some((at.line, at.column)) }
    }

    /// Something is wrong at a place.
    pub(super) fn fault(&self, at: At, message: impl Into<String>) {
        self.faults.borrow_mut().push(Fault::new(self.place(at), message));
    }

    /// Something is accepted and has no effect.
    pub(super) fn warn(&self, at: At, message: impl Into<String>) {
        self.warnings.borrow_mut().push(Fault::new(self.place(at), message));
    }

    /// A setting is written at a place.
    pub(super) fn note(&self, path: &str, at: At) {
        self.origins.borrow_mut().note(path, self.place(at));
    }

    /// The value of a setting comes from a variable, which may hold a secret.
    pub(super) fn veil(&self, path: &str) {
        self.origins.borrow_mut().veil(path);
    }

    /// A setting is looked for below `prefix`.
    pub(super) fn declare(
        &self,
        prefix: &str,
        (name, aliases): (&'static str, &[&'static str]),
        form: Form,
    ) {
        let declaration =
            Declaration { prefix: prefix.to_owned(), name, aliases: aliases.to_vec(), form };
        self.declared.borrow_mut().push(declaration);
    }

    /// The text with its variables replaced; a missing one is reported.
    pub(super) fn expand(&self, text: &str, at: At) -> Option<String> {
        vars::expand(text, self.vars).map_err(|message| self.fault(at, message)).ok()
    }

    /// The text with its variables replaced where they are set, for a look ahead.
    pub(super) fn peek(&self, text: &str) -> String {
        vars::expand(text, self.vars).unwrap_or_else(|_| text.to_owned())
    }

    pub(super) fn is_clean(&self) -> bool {
        self.faults.borrow().is_empty()
    }

    /// Everything that was gathered.
    pub(super) fn finish(self) -> Gathered {
        let (mut faults, mut warnings) = (self.faults.into_inner(), self.warnings.into_inner());
        faults.sort_by_key(|fault| fault.place.position);
        warnings.sort_by_key(|fault| fault.place.position);
        let (origins, declared) = (self.origins.into_inner(), self.declared.into_inner());
        Gathered { faults, warnings, origins, declared }
    }
}
