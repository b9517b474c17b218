//! What must not compile.

#[test]
fn the_ways_round_the_types_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("refused/*.rs");
}
