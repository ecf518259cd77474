//! Column names that look personal or secret. They are looser than tags: a report costs a glance, a tag a question.

use std::sync::Arc;

use crate::catalog::tags::{ColumnPattern, TagRule};

const TABLE: [(&str, &[&str]); 9] = [
    ("user.contact.email", &["*email*", "*e_mail*"]),
    ("user.contact.phone_number", &["*phone*", "*mobile*", "*msisdn*", "*fax*"]),
    ("user.name", &["*first*name*", "*last*name*", "*sur*name*", "*family*name*", "*given*name*", "*full*name*"]),
    ("user.contact.address", &["*street*", "*address*", "*post*code*", "*zip*code*"]),
    ("user.demographic.date_of_birth", &["*birth*", "dob"]),
    ("user.government_id", &["ssn*", "*_ssn", "*passport*", "*national*id*", "*tax*id*", "*social*sec*"]),
    ("user.financial", &["*iban*", "*card*num*", "*account*num*", "cvv", "cvc", "*salary*"]),
    ("user.device.ip_address", &["*ip_addr*", "*ipaddr*", "client_ip", "remote_ip"]),
    (
        "system.authentication",
        &["*passw*", "pwd*", "*secret*", "*token*", "*api*key*", "*private*key*", "*credential*"],
    ),
];

/// The table as tag rules.
pub(super) fn rules() -> Vec<TagRule> {
    let rule = |(tag, names): &(&str, &[&str])| TagRule {
        columns: names.iter().filter_map(|name| ColumnPattern::parse(name).ok()).collect(),
        except: Vec::new(),
        tag: Arc::from(*tag),
    };
    TABLE.iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_of_the_table_is_one() {
        let written: usize = TABLE.iter().map(|(_, names)| names.len()).sum();
        assert_eq!(rules().iter().map(|rule| rule.columns.len()).sum::<usize>(), written);
    }
}
