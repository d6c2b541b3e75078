"""What a computer asks for, apart from the lesson: nothing here knows of faces or networks of ours.

- :mod:`machinery.computer`: where a program runs, for the record.
- :mod:`machinery.files`: files written whole, and errors that name the file and the remedy.
- :mod:`machinery.forms`: labelled images out of a folder, an archive or a CSV file.
- :mod:`machinery.keras_quietly`: Keras without noise, the same for everybody.
- :mod:`machinery.winograd`: wide convolutions, fast on a CPU.
"""
