"""Training on candidate sets. Importing this package loads no torch; its folders hold one method each."""
