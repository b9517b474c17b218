//! Random bytes for keys and nonces: the system's, fetched a page at a time, for a call each would cost more than the
//! cipher.

use std::cell::RefCell;

use zeroize::Zeroizing;

use super::Unreadable;

/// How much is fetched at a time.
const PAGE: usize = 4096;

struct Pool {
    bytes: Zeroizing<[u8; PAGE]>,
    left: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::new(Pool { bytes: Zeroizing::new([0; PAGE]), left: 0 });
}

/// Fills `out` with bytes that nobody has had and nobody gets again.
pub fn fill(out: &mut [u8]) -> Result<(), Unreadable> {
    if out.len() > PAGE {
        return getrandom::fill(out).map_err(|_| Unreadable::Cipher);
    }
    POOL.with_borrow_mut(|pool| {
        if pool.left < out.len() {
            getrandom::fill(pool.bytes.as_mut_slice()).map_err(|_| Unreadable::Cipher)?;
            pool.left = PAGE;
        }
        let from = pool.left - out.len();
        out.copy_from_slice(&pool.bytes[from..pool.left]);
        pool.bytes[from..pool.left].fill(0);
        pool.left = from;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_bytes_come_twice() {
        let mut seen = HashSet::new();
        for _ in 0..5_000 {
            let mut nonce = [0; 12];
            fill(&mut nonce).unwrap();
            assert!(seen.insert(nonce));
        }
        let mut large = [0; PAGE + 1];
        fill(&mut large).unwrap();
        assert!(large.iter().any(|byte| *byte != 0));
    }
}
