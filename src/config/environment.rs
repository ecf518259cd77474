//! The process's environment, read once, behind one door.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::ids::NAME;

/// Environment variables; those that are no text are left out.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn process() -> Self {
        // Not `vars`, which panics where a variable is no text.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// A variable; an empty one counts as absent, as in libpq.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Where state lives unless said otherwise: `$XDG_STATE_HOME/holdgate`, else `$HOME/.local/state/holdgate`, else
    /// `holdgate-state` in the working directory. The commands that read the log use the same.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        match (self.var("XDG_STATE_HOME"), self.var("HOME")) {
            (Some(home), _) => PathBuf::from(home).join(NAME),
            (None, Some(home)) => PathBuf::from(home).join(".local/state").join(NAME),
            (None, None) => PathBuf::from(format!("{NAME}-state")),
        }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Environment {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}
