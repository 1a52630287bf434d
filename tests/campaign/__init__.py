"""The crash campaign: writers that log what they intend, faults from a seed, and a judge that compares.

run.py is the command, campaign.py one run; workload.py says what is written, writer.py is one writer's
process, faults.py what is broken, verdict.py what is compared.
"""
