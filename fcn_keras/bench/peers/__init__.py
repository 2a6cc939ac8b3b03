"""The same networks in other programs: as others write them, and as files."""
