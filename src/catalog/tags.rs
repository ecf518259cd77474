//! Which columns carry which data category: patterns from the policy over physical column names.
