//! The long runs of `make soak`, made short.

use notify_json_tests::{Running, soak};

#[test]
fn random_faults_of_a_fixed_seed() {
    let mut command = soak();
    command.args(["faults", "20", "7"]);
    let (code, output, errors) = Running::start(&mut command).finish();
    assert_eq!(code, Some(0), "{errors}");
    assert!(output.ends_with("every loss had its one gap\n"), "{output}");
}

#[test]
fn a_durable_channel_under_fire() {
    let mut command = soak();
    command.args(["durable", "20000", "6", "1"]);
    let (code, output, errors) = Running::start(&mut command).finish();
    assert_eq!(code, Some(0), "{errors}");
    assert!(output.ends_with("each handled once, in order\n"), "{output}");
}

#[test]
fn a_day_of_publishing_and_pruning() {
    let mut command = soak();
    command.args(["retention", "24"]);
    let (code, output, errors) = Running::start(&mut command).finish();
    assert_eq!(code, Some(0), "{output}{errors}");
}

#[test]
fn tables_mirrored_from_their_events() {
    let mut command = soak();
    command.args(["mirror", "20", "1"]);
    let (code, output, errors) = Running::start(&mut command).finish();
    assert_eq!(code, Some(0), "{output}{errors}");
    assert!(output.ends_with("every mirror equals its table\n"), "{output}");
}
