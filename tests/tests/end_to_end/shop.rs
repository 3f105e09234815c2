//! The example of the client, as `make shop` runs it.

use notify_json_tests::{Running, shop};

#[test]
fn every_order_is_billed_once_and_the_dashboard_shows_them_all() {
    let (code, output, errors) = Running::start(shop().arg("15")).finish();
    assert_eq!(code, Some(0), "{output}{errors}");
    assert!(output.ends_with("Every order that was paid was billed, once.\n"), "{output}");
    // The mistake, the key's protection that was not needed, and the gap.
    assert_eq!(errors.matches(" passed over: ").count(), 1, "{errors}");
    assert!(!output.contains("billed before"), "{output}");
    assert_eq!(output.matches("read the table again: ").count(), 1, "{output}");
    assert!(!output.contains("4111"), "{output}");
}
