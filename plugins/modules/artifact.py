#!/usr/bin/python
"""Documentation of the action plugin ``artifact``; the work is done in plugins/action/artifact.py."""

DOCUMENTATION = r"""
module: artifact
short_description: Hand results of a run to people on the control node
description:
  - Writes below C(artifacts/<host>/) of the repository, or of C(artifacts_dir) where that variable is set. Directories
    get mode 0700, files 0600. Files with the right text are left alone.
options:
  connection:
    description: Keys that are merged into C(connection.json); what other roles wrote there stays.
    type: dict
    default: {}
  files:
    description: Texts by plain file name.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Hand out the authority's certificate
  artifact:
    connection: {ca: ca.pem}
    files: {ca.pem: "{{ __tls_authority.content | b64decode }}"}
"""
