//! The example of the RFC, and every message that is not one.

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use super::*;

/// The example of RFC 7677, section 3: user `user`, password `pencil`.
fn example() -> Verifier {
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
     wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        .parse()
        .unwrap()
}

const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const OWN: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

#[test]
fn the_example_of_the_rfc_is_answered_as_it_says() {
    let (exchange, answer) = Exchange::answer((PLAIN, FIRST), example(), None, OWN).unwrap();
    assert_eq!(answer, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    assert_eq!(exchange.finish(LAST.as_bytes()).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn another_secret_nonce_or_header_is_refused() {
    let finish = |last: &str| Exchange::answer((PLAIN, FIRST), example(), None, OWN).unwrap().0.finish(last.as_bytes());
    assert_eq!(finish(&LAST.replace("dHzb", "dHzc")), Err(ScramError::Wrong));
    assert_eq!(finish(&LAST.replace("k0,", "k1,")), Err(ScramError::Malformed));
    assert_eq!(finish(&LAST.replace("biws", "eSws")), Err(ScramError::Malformed));
    for last in ["c=biws", "", "c=biws,p=", "r=x,c=biws,p=AAAA", "\0", "c=biws,r=,p=!!"] {
        assert_eq!(finish(last), Err(ScramError::Malformed), "{last}");
    }
    let short = LAST.replace("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "dHzb");
    assert_eq!(finish(&short), Err(ScramError::Malformed));
    assert_eq!(
        Exchange::answer((PLAIN, FIRST), example(), None, OWN).unwrap().0.finish(&[0xff]),
        Err(ScramError::Malformed)
    );
}

#[test]
fn a_first_message_that_is_malformed_or_asks_for_another_identity_is_refused() {
    let malformed = [
        "n,a=root,n=u,r=x",
        "n,,r=x",
        "n,,n=u,r=",
        "",
        "n,",
        "n,,m=x,n=u,r=x",
        "n,,n=u,r=x y",
        "n,,n=u",
        "x,,n=u,r=x",
        "p=tls-unique,,n=u,r=x",
        "p=tls-server-end-point,,n=u,r=x",
        "n,,n=u,r=\u{e4}",
    ];
    for first in malformed {
        for binding in [None, Some(&b"hash"[..])] {
            assert!(Exchange::begin(PLAIN, first.as_bytes(), example(), binding).is_err(), "{first}");
        }
    }
}

#[test]
fn a_client_that_was_told_of_no_channel_binding_is_refused_where_it_was_offered() {
    let begin =
        |mechanism, first: &str, binding| Exchange::begin(mechanism, first.as_bytes(), example(), binding).err();
    assert_eq!(begin(PLAIN, "y,,n=,r=x", None), None);
    assert_eq!(begin(PLAIN, "y,,n=,r=x", Some(b"hash")), Some(ScramError::Binding));
    assert_eq!(begin(PLUS, "n,,n=,r=x", Some(b"hash")), Some(ScramError::Malformed));
    assert_eq!(begin(PLUS, "p=tls-server-end-point,,n=,r=x", None), Some(ScramError::Malformed));
}

/// A whole exchange of a real client's half with ours.
fn bound(client: &[u8], server: &[u8]) -> Result<String, ScramError> {
    let mut half = ScramSha256::new(b"pencil", ChannelBinding::tls_server_end_point(client.to_vec()));
    let (exchange, answer) = Exchange::begin(PLUS, half.message(), example(), Some(server)).unwrap();
    half.update(answer.as_bytes()).unwrap();
    let last = exchange.finish(half.message())?;
    half.finish(last.as_bytes()).unwrap();
    Ok(last)
}

#[test]
fn an_exchange_is_bound_to_its_channel() {
    assert!(bound(b"hash", b"hash").is_ok());
    assert_eq!(bound(b"hash", b"other"), Err(ScramError::Binding));
}

#[test]
fn a_verifier_is_written_as_it_is_read_and_never_shown() {
    let text = example().to_string();
    assert_eq!(text.parse::<Verifier>().unwrap(), example());
    assert_eq!(format!("{:?}", example()), "Verifier(***)");
    let wrong =
        ["", "secret", "md5abc", "SCRAM-SHA-256$", "SCRAM-SHA-256$0:QQ==$QQ==:QQ==", "SCRAM-SHA-1$4096:QQ==$QQ==:QQ=="];
    for text in wrong {
        assert_eq!(text.parse::<Verifier>(), Err(NoVerifier), "{text}");
    }
    assert!(text.replace("$4096:", "$0:").parse::<Verifier>().is_err());
    assert!(text.replace("$4096:", "$99999999:").parse::<Verifier>().is_err());
}

#[test]
fn the_verifier_of_nobody_is_stable_and_looks_like_the_others() {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, b"state");
    let mock = |user| Verifier::mock(&secret, user, example().shape());
    assert_eq!(mock("nobody"), mock("nobody"));
    assert_ne!(mock("nobody").salt, mock("somebody").salt);
    assert_eq!(mock("nobody").shape(), example().shape());
    assert!(mock("nobody").to_string().parse::<Verifier>().is_ok());
    let made = Verifier::of_password("p\u{e4}ssword").unwrap();
    assert_eq!(made.shape(), Shape::default());
}
