//! Which member a client belongs to, by its address: rendezvous hashing over 256 buckets.
//!
//! Each bucket goes to the member with the highest score for it, and scores depend on nothing but bucket and member. So a
//! member that goes loses its own buckets and no other moves, one that comes takes its share and nothing else moves, and
//! a successor of this process comes to the same table without having been told.

use crate::cluster::steering::Place;

/// How many groups of clients are told apart.
pub(super) const BUCKETS: u32 = 256;

/// For each bucket the position, in `places`, of its member. Members that have the same place (several sockets of one run)
/// are told apart by how many came before them.
pub(super) fn table(places: &[Place]) -> Vec<usize> {
    let mut keys: Vec<u64> = Vec::with_capacity(places.len());
    for (at, place) in places.iter().enumerate() {
        let nth = places.iter().take(at).filter(|earlier| *earlier == place).count();
        keys.push(u64::from(place.0) | u64::try_from(nth).unwrap_or(u64::MAX) << 32);
    }
    (0..BUCKETS)
        .map(|bucket| {
            let score = |key: u64| (mix(key ^ mix(u64::from(bucket) + 1)), key);
            let best = keys.iter().enumerate().max_by_key(|(_, key)| score(**key));
            best.map(|(at, _)| at).unwrap_or_default()
        })
        .collect()
}

/// A permutation of 64 bits in which every bit of the input moves every bit of the output: multiply, shift, repeat, with
/// odd constants whose bits look random (the fraction of the golden ratio, and of the square roots of 2 and 3).
fn mix(value: u64) -> u64 {
    let mut value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    for constant in [0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b, 0x9e37_79b9_7f4a_7c15] {
        value ^= value >> 32;
        value = value.wrapping_mul(constant);
    }
    value ^ value >> 29
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(places: &[u32]) -> Vec<Place> {
        let places: Vec<Place> = places.iter().copied().map(Place).collect();
        table(&places).into_iter().map(|at| places[at]).collect()
    }

    proptest! {
        #[test]
        fn only_the_share_of_a_lost_member_moves(mut places in prop::collection::btree_set(0_u32..1000, 2..40), lost: prop::sample::Index) {
            let before = of(&places.iter().copied().collect::<Vec<_>>());
            let gone = *places.iter().nth(lost.index(places.len())).unwrap();
            places.remove(&gone);
            let after = of(&places.iter().copied().collect::<Vec<_>>());
            for (old, new) in before.iter().zip(&after) {
                prop_assert!(old == new || *old == Place(gone));
            }
        }

        #[test]
        fn the_order_of_the_members_does_not_matter(places in Just((0..20).collect::<Vec<u32>>()).prop_shuffle()) {
            prop_assert_eq!(of(&places), of(&(0..20).collect::<Vec<u32>>()));
        }
    }

    #[test]
    fn shares_are_as_even_as_a_table_of_this_size_allows() {
        for count in [2_u32, 3, 4, 8, 16] {
            let table = of(&(0..count).collect::<Vec<_>>());
            let even = f64::from(BUCKETS / count);
            for place in 0..count {
                let share = table.iter().filter(|found| **found == Place(place)).count() as f64;
                // Four standard deviations.
                assert!((share - even).abs() <= 4.0 * even.sqrt(), "{count} members: {share} of {even}");
            }
        }
    }

    #[test]
    fn sockets_of_one_place_share_what_is_its() {
        let table = table(&[Place(1), Place(1), Place(2)]);
        for at in 0..3 {
            assert!(table.contains(&at));
        }
        assert_eq!(super::table(&[]), vec![0; 256]);
    }
}
