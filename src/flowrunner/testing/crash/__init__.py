"""Crash tests of real servers: they are killed in the middle of real work, and what happened is judged from outside.

ledger      a process that notes each effect of a task, on disk before it answers
flows       small machines that between them use everything a crash can hurt, and what each may come to
functions   the tasks of those machines: their effects go to the ledger
nursery     a process that has everything loaded and becomes servers in a moment
server      one real server, to start, kill, pause and ask
outside     those whom the machines wait for: who answers tokens, an activity's worker
grammar     which event may follow which in a history
checker     from ledger, histories and answers to what is wrong with them: pure
campaign    runs on servers that are killed, from the start to the verdict
"""
