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

    /// The root; of an empty tree the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut hashes = self.frontier.iter().rev();
        let Some(smallest) = hashes.next() else { return sha256(&[]) };
        hashes.fold(*smallest, |right, left| node_hash(left, &right))
    }
}

/// The audit path of RFC 6962 §2.1.1 for leaf `index` of `leaves`, from the leaf upward; `None` where there is no such leaf.
#[must_use]
pub fn inclusion_proof(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut leaves, mut index) = (leaves, index);
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        if index < left.len() {
            path.push(root_of(right));
            leaves = left;
        } else {
            path.push(root_of(left));
            index -= left.len();
            leaves = right;
        }
    }
    path.reverse();
    Some(path)
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

    #[test]
    fn every_leaf_of_every_tree_is_proved_and_no_other() {
        let leaves: Vec<Hash> = (0..40_u8).map(|byte| leaf_hash(&[byte])).collect();
        for size in 1..=leaves.len() {
            let leaves = &leaves[..size];
            let root = root_of(leaves);
            for index in 0..size {
                let path = inclusion_proof(leaves, index).unwrap();
                let proved = |leaf, at| root_of_proof(leaf, at, u64::try_from(size).unwrap(), &path);
                let at = u64::try_from(index).unwrap();
                assert_eq!(proved(leaves[index], at), Some(root), "{index} of {size}");
                assert_ne!(proved(leaf_hash(b"other"), at), Some(root), "{index} of {size}");
            }
        }
        assert_eq!(inclusion_proof(&leaves, leaves.len()), None);
    }

    #[test]
    fn a_frontier_that_is_not_one_of_its_size_is_refused() {
        let mut tree = Tree::default();
        (0..11_u8).for_each(|byte| tree.push(leaf_hash(&[byte])));
        assert_eq!(Tree::from_frontier(tree.size(), tree.frontier().to_vec()), Some(tree.clone()));
        assert_eq!(Tree::from_frontier(12, tree.frontier().to_vec()), None);
    }
}
