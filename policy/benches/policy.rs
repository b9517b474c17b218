//! What a preview and a look-up cost: `cargo bench -p policy`.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::error::Error;
use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use policy::{Field, Matrix, Policy, Reach, Table, View};

const ROLES: usize = 12;
const PURPOSES: usize = 8;
const LOOK_UPS: u32 = 10_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let policy = made_up()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut rounds = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        black_box(runtime.block_on(Table::of(&policy))?);
        rounds.push(start.elapsed());
    }
    rounds.sort();
    println!(
        "Table::of: {} roles x {} fields x {} purposes, {} rules: median {:?}, slowest {:?} of {}",
        policy.roles().len(),
        Field::ALL.len(),
        policy.purposes().len(),
        policy.rules().len(),
        rounds[rounds.len() / 2],
        rounds[rounds.len() - 1],
        rounds.len(),
    );

    let matrix = runtime.block_on(Matrix::of(&policy, &["r3"], Some("p3")))?;
    let reference = timed(|field, reach, view| black_box((field, reach, view)).0 as usize);
    let look_up = timed(|field, reach, view| {
        let (field, reach, view) = black_box((field, reach, view));
        black_box(&matrix).sight(field, reach, view) as usize
    });
    println!("Matrix::sight: {:.2} ns a look-up, {:.2} ns the same loop without it", per_look_up(look_up), per_look_up(reference));
    Ok(())
}

/// Ten million steps over all fields, reaches and views.
fn timed(step: impl Fn(Field, Reach, View) -> usize) -> Duration {
    let combinations: Vec<(Field, Reach, View)> =
        Field::ALL.iter().flat_map(|field| Reach::ALL.iter().flat_map(|reach| [View::Masked, View::Clear].map(|view| (*field, *reach, view)))).collect();
    let start = Instant::now();
    let sum: usize = combinations.iter().cycle().zip(0..LOOK_UPS).map(|((field, reach, view), _)| step(*field, *reach, *view)).sum();
    black_box(sum);
    start.elapsed()
}

fn per_look_up(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9 / f64::from(LOOK_UPS)
}

/// Every role has rules of its own on every field, in several scopes and purposes, and two thirds of them inherit.
fn made_up() -> Result<Policy, Box<dyn Error>> {
    let mut text = String::new();
    for role in 0..ROLES {
        if role % 3 > 0 {
            writeln!(text, "g, r{role}, r{}", role - 1)?;
        }
        let (one, other) = (role % PURPOSES, (role + 3) % PURPOSES);
        for field in Field::ALL {
            let key = field.entry().key;
            writeln!(text, "p, r{role}, {key}, {{read.masked,search}}, all, *, allow")?;
            writeln!(text, "p, r{role}, {key}, read.clear, own, p{one}, allow")?;
            writeln!(text, "p, r{role}, {key}, {{read.clear,export}}, department, p{other}, allow")?;
            writeln!(text, "p, r{role}, {key}, write, own, p{one}, allow")?;
            writeln!(text, "p, r{role}, {key}, export, all, p{other}, deny")?;
        }
        writeln!(text, "p, r{role}, Policy, {{read,approve}}, all, *, allow")?;
    }
    Ok(Policy::read(&text)?)
}
