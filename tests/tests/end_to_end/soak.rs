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
