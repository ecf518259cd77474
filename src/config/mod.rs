//! Raw configuration becomes typed configuration, with all problems at once.
