//! A piece that is put together from blocks. The rule: a block is one peer's, and it is hashed in order as it comes; the
//! piece is given out only whole, and only where the hash is the one it must have.

use larder_content::hash::PieceHasher;
use larder_storage::ram_tier::FrameWriter;
use std::collections::BTreeMap;

/// See the file's head.
pub(super) struct Assembly {
    hash: [u8; 32],
    hasher: PieceHasher,
    /// None once it has been given out.
    writer: Option<FrameWriter>,
    /// What came before its turn, by where it belongs: a peer may answer in any order, and there may be several. No
    /// more than the piece has.
    early: BTreeMap<u32, Vec<u8>>,
}

impl Assembly {
    /// A piece that must hash to `hash`, and goes to where `writer` writes.
    pub(super) fn new(hash: [u8; 32], writer: FrameWriter) -> Self {
        Self {
            hash,
            hasher: PieceHasher::default(),
            writer: Some(writer),
            early: BTreeMap::new(),
        }
    }

    /// Takes a whole block. One that is there already changes nothing.
    pub(super) fn put(&mut self, offset: u32, bytes: &[u8]) {
        let Some(writer) = &mut self.writer else {
            return;
        };
        let end = u64::from(offset) + bytes.len() as u64;
        if offset < writer.filled() || end > u64::from(writer.frame().len()) {
            return;
        }
        if offset > writer.filled() {
            self.early.entry(offset).or_insert_with(|| bytes.to_vec());
            return;
        }
        writer.append(bytes);
        self.hasher.update(bytes);
        while let Some(bytes) = self.early.remove(&writer.filled()) {
            writer.append(&bytes);
            self.hasher.update(&bytes);
        }
    }

    /// The piece, where it is whole and right; it is given out once.
    pub(super) fn proved(&mut self) -> Option<FrameWriter> {
        let writer = self.writer.take_if(|writer| writer.remaining() == 0)?;
        let hash = std::mem::take(&mut self.hasher).finish();
        (hash == self.hash).then_some(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_content::hash::of_piece;
    use larder_storage::ram_tier::RamTier;

    fn assembly(bytes: &[u8]) -> Assembly {
        let ram = RamTier::new(1 << 20).unwrap();
        let writer = ram.frame(u32::try_from(bytes.len()).unwrap()).unwrap();
        Assembly::new(of_piece(bytes), writer)
    }

    #[test]
    fn blocks_make_the_piece_in_any_order_and_however_often_they_come() {
        let bytes: Vec<u8> = (0..250).collect();
        let mut assembly = assembly(&bytes);
        assembly.put(200, &bytes[200..]);
        assembly.put(0, &bytes[..100]);
        assembly.put(0, &[7; 100]);
        assembly.put(200, &[7; 50]);
        assembly.put(200, &[7; 100]);
        assert!(assembly.proved().is_none());
        assembly.put(100, &bytes[100..200]);
        assert_eq!(assembly.proved().unwrap().frame().bytes(), bytes);
        assert!(assembly.proved().is_none());
    }

    #[test]
    fn one_wrong_byte_is_found_out() {
        let mut bytes = vec![7; 250];
        let mut assembly = assembly(&bytes);
        bytes[249] = 8;
        assembly.put(0, &bytes[..100]);
        assembly.put(100, &bytes[100..]);
        assert!(assembly.proved().is_none());
    }
}
