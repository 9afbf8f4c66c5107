"""Candidate sets, choice questions, queries, answers, scores, statistics and run records."""
