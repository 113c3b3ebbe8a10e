//! Where faults and warnings are gathered while a file is checked.

use std::cell::RefCell;

use super::super::tree::At;
use super::super::{Fault, Place, Vars, vars};

/// The faults of one file so far, and what is needed to read its values.
pub(super) struct Report<'v> {
    file: &'v str,
    vars: &'v dyn Vars,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
}

impl<'v> Report<'v> {
    pub(super) fn new(file: &'v str, vars: &'v dyn Vars) -> Self {
        Self { file, vars, faults: RefCell::default(), warnings: RefCell::default() }
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

    /// Faults and warnings, each in the order of the file.
    pub(super) fn finish(self) -> (Vec<Fault>, Vec<Fault>) {
        let (mut faults, mut warnings) = (self.faults.into_inner(), self.warnings.into_inner());
        faults.sort_by_key(|fault| fault.place.position);
        warnings.sort_by_key(|fault| fault.place.position);
        (faults, warnings)
    }
}
