"""The Hugging Face Hub: checkpoints, data sets and run records go there and come back.

- address: `hub:owner/name@revision`
- client: the Hub's own library, with what goes wrong as one line each
- manifest: `pushed.json`, which says what a repository holds
- upload: few commits, resumable, nothing twice
- fetch: whole or not at all, by hash
- file_names: which names and kinds of files are taken and sent
- checkpoint, checkpoint_card, records, dataset, licences: what is pushed
"""
