//! The Merkle tree of RFC 6962 §2.1 over the log's lines: root, frontier, inclusion proofs.

use ring::digest::{Context, SHA256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// The leaf hash of a line: SHA-256(0x00 ‖ line without its line end).
#[must_use]
pub fn leaf_hash(line: &[u8]) -> Hash {
    sha256(&[&[0], line])
}

/// The tree over all leaves so far, by its frontier: the roots of its complete subtrees, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    frontier: Vec<Hash>,
}

impl Tree {
    /// A tree from its frontier; `None` where that is not one of `size` leaves.
    #[must_use]
    pub fn from_frontier(size: u64, frontier: Vec<Hash>) -> Option<Self> {
        let fits = u64::from(size.count_ones()) == u64::try_from(frontier.len()).ok()?;
        fits.then_some(Self { size, frontier })
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.frontier.pop() else { break };
            hash = node_hash(&left, &hash);
        }
        self.frontier.push(hash);
        self.size += 1;
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, the largest first.
    #[must_use]
    pub fn frontier(&self) -> &[Hash] {
        &self.frontier
    }

    /// The root of the complete subtree over just these leaves, where it is one of the frontier.
    fn complete(&self, first: u64, end: u64) -> Option<Hash> {
        let (mut at, mut hashes) = (0, self.frontier.iter());
        for bit in (0..u64::BITS).rev().map(|shift| 1_u64 << shift).filter(|bit| self.size & bit != 0) {
            let hash = hashes.next()?;
            if at == first && at + bit == end {
                return Some(*hash);
            }
            at += bit;
        }
        None
    }

    /// The root; of an empty tree the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut hashes = self.frontier.iter().rev();
        let Some(smallest) = hashes.next() else { return sha256(&[]) };
        hashes.fold(*smallest, |right, left| node_hash(left, &right))
    }
}

/// The leaves of a tree, of whose beginning only the frontier may be left.
#[derive(Clone, Debug, Default)]
pub struct Leaves {
    head: Tree,
    tail: Vec<Hash>,
}

impl Leaves {
    /// The leaves behind `head`.
    #[must_use]
    pub const fn behind(head: Tree, tail: Vec<Hash>) -> Self {
        Self { head, tail }
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.tail.push(leaf);
    }

    /// The number of leaves, those that are not left too.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.head.size() + u64::try_from(self.tail.len()).unwrap_or(u64::MAX)
    }

    /// The root over the first `size` leaves; `None` where too many of them are not left.
    #[must_use]
    pub fn root(&self, size: u64) -> Option<Hash> {
        if size == 0 { Some(sha256(&[])) } else { self.subtree(0, size) }
    }

    /// The audit path of RFC 6962 §2.1.1 for a leaf of the tree over the first `size`, from the leaf upward; `None`
    /// where there is no such leaf, or too many are not left.
    #[must_use]
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index >= size || size > self.size() {
            return None;
        }
        let mut path = Vec::new();
        let (mut first, mut end) = (0, size);
        while end - first > 1 {
            let middle = first + left_of(end - first);
            if index < middle {
                path.push(self.subtree(middle, end)?);
                end = middle;
            } else {
                path.push(self.subtree(first, middle)?);
                first = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    /// The consistency proof of RFC 6962 §2.1.2 between the trees over the first `old` and the first `new` leaves;
    /// `None` where `old` is none or more than `new`, or too many leaves are not left.
    #[must_use]
    pub fn consistency_proof(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        if old == 0 || old > new || new > self.size() {
            return None;
        }
        let mut path = Vec::new();
        let (mut first, mut end, mut is_known) = (0, new, true);
        while old < end {
            let middle = first + left_of(end - first);
            if old <= middle {
                path.push(self.subtree(middle, end)?);
                end = middle;
            } else {
                path.push(self.subtree(first, middle)?);
                first = middle;
                is_known = false;
            }
        }
        if !is_known {
            path.push(self.subtree(first, end)?);
        }
        path.reverse();
        Some(path)
    }

    /// The hash over the leaves from `first` up to `end`, which is not one of them.
    fn subtree(&self, first: u64, end: u64) -> Option<Hash> {
        let kept = self.head.size();
        if first >= kept {
            let at = |place: u64| usize::try_from(place - kept).ok();
            return self.tail.get(at(first)?..at(end)?).map(root_of);
        }
        if let Some(hash) = self.head.complete(first, end) {
            return Some(hash);
        }
        let middle = first + left_of(end - first);
        (end - first > 1).then(|| Some(node_hash(&self.subtree(first, middle)?, &self.subtree(middle, end)?))).flatten()
    }
}

/// The largest power of two below `size`: how many leaves the left half of a tree holds.
fn left_of(size: u64) -> u64 {
    size.next_power_of_two() / 2
}

/// Whether a consistency proof leads to both roots (RFC 9162 §2.1.4.2).
#[must_use]
pub fn is_consistent(old: (u64, Hash), new: (u64, Hash), path: &[Hash]) -> bool {
    if old.0 == new.0 {
        return path.is_empty() && old.1 == new.1;
    }
    let known = old.0.is_power_of_two().then_some(&old.1);
    let mut hashes = known.into_iter().chain(path);
    let Some(start) = hashes.next().filter(|_| old.0 > 0 && old.0 < new.0) else { return false };
    let (mut node, mut last) = (old.0 - 1, new.0 - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_root, mut new_root) = (*start, *start);
    for hash in hashes {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            (old_root, new_root) = (node_hash(hash, &old_root), node_hash(hash, &new_root));
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_root = node_hash(&new_root, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_root == old.1 && new_root == new.1
}

/// The root to which an audit path leads (RFC 9162 §2.1.3.2); `None` where the path has a wrong length.
#[must_use]
pub fn root_of_proof(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

fn root_of(leaves: &[Hash]) -> Hash {
    let mut tree = Tree::default();
    for leaf in leaves {
        tree.push(*leaf);
    }
    tree.root()
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(hash: &Hash) -> String {
        hash.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }

    /// Inputs and roots of the test vectors that Certificate Transparency implementations share.
    #[test]
    fn roots_are_those_of_the_published_vectors() {
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        assert_eq!(hex(&tree.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (input, root) in inputs.iter().zip(roots) {
            tree.push(leaf_hash(input));
            assert_eq!(hex(&tree.root()), root, "{} leaves", tree.size());
        }
    }

    /// All of the first 40 leaves behind a head of `kept`.
    fn leaves(kept: u8) -> Leaves {
        let mut head = Tree::default();
        (0..kept).for_each(|byte| head.push(leaf_hash(&[byte])));
        Leaves::behind(head, (kept..40).map(|byte| leaf_hash(&[byte])).collect())
    }

    #[test]
    fn every_leaf_that_is_left_is_proved_in_every_tree_and_no_other() {
        for kept in [0, 1, 5, 8, 13, 24] {
            let leaves = leaves(kept);
            for size in u64::from(kept) + 1..=40 {
                let root = leaves.root(size).unwrap();
                for index in u64::from(kept)..size {
                    let path = leaves.inclusion_proof(index, size).unwrap();
                    let leaf = leaf_hash(&[u8::try_from(index).unwrap()]);
                    assert_eq!(root_of_proof(leaf, index, size, &path), Some(root), "{index} of {size} behind {kept}");
                    assert_ne!(root_of_proof(leaf_hash(b"other"), index, size, &path), Some(root), "{index} of {size}");
                }
            }
        }
        assert_eq!(leaves(0).inclusion_proof(40, 40), None);
        assert_eq!(leaves(0).inclusion_proof(3, 41), None);
        assert_eq!(leaves(8).inclusion_proof(3, 40), None);
    }

    #[test]
    fn every_two_trees_are_proved_consistent_and_no_others() {
        let whole = leaves(0);
        let root = |size| (size, whole.root(size).unwrap());
        for new in 1..=40 {
            for old in 1..=new {
                let path = whole.consistency_proof(old, new).unwrap();
                assert!(is_consistent(root(old), root(new), &path), "{old} to {new}");
                assert!(!is_consistent((old, leaf_hash(b"other")), root(new), &path), "{old} to {new}");
                assert!(!is_consistent(root(old), (new, leaf_hash(b"other")), &path), "{old} to {new}");
                for kept in [1, 5, 8, 13, 24] {
                    if let Some(found) = leaves(kept).consistency_proof(old, new) {
                        assert_eq!(found, path, "{old} to {new} behind {kept}");
                    } else {
                        assert!(old < u64::from(kept), "{old} to {new} behind {kept}");
                    }
                }
            }
        }
        assert_eq!(whole.consistency_proof(0, 5), None);
        assert_eq!(whole.consistency_proof(6, 5), None);
    }

    #[test]
    fn a_frontier_that_is_not_one_of_its_size_is_refused() {
        let mut tree = Tree::default();
        (0..11_u8).for_each(|byte| tree.push(leaf_hash(&[byte])));
        assert_eq!(Tree::from_frontier(tree.size(), tree.frontier().to_vec()), Some(tree.clone()));
        assert_eq!(Tree::from_frontier(12, tree.frontier().to_vec()), None);
    }
}
