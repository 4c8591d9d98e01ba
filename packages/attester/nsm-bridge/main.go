// nsm-bridge carries one request to the Nitro Security Module of an AWS Nitro enclave: CBOR from standard input through the
// ioctl of /dev/nsm to standard output. It reads and judges nothing. Linux only; standard library only.
//
// Build for the image of the enclave: CGO_ENABLED=0 go build -trimpath -o nsm-bridge .
// Use: nsm-bridge [device], with /dev/nsm where none is named. Status 0: the answer is on standard output.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

const (
	// Limits of the driver (linux/nsm.h).
	requestMaxBytes  = 0x1000
	responseMaxBytes = 0x3000
	// _IOWR(0x0A, 0, struct nsm_message): two iovecs of 16 bytes each.
	nsmIoctl = 3<<30 | unsafe.Sizeof(message{})<<16 | 0x0A<<8
)

type ioVec struct {
	address unsafe.Pointer
	length  uint64
}

type message struct {
	request  ioVec
	response ioVec
}

func main() {
	device := "/dev/nsm"
	if len(os.Args) > 1 {
		device = os.Args[1]
	}
	if err := carry(device, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "nsm-bridge: %v\n", err)
		os.Exit(1)
	}
}

func carry(device string, in io.Reader, out io.Writer) error {
	request, err := io.ReadAll(io.LimitReader(in, requestMaxBytes+1))
	if err != nil {
		return err
	}
	if len(request) == 0 || len(request) > requestMaxBytes {
		return fmt.Errorf("a request has 1 to %d bytes, this has %d", requestMaxBytes, len(request))
	}
	file, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("no Nitro Security Module, is this a Nitro enclave? %w", err)
	}
	defer file.Close()
	response, err := ask(file.Fd(), request)
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	_, err = out.Write(response)
	return err
}

func ask(device uintptr, request []byte) ([]byte, error) {
	response := make([]byte, responseMaxBytes)
	asked := message{
		request:  ioVec{unsafe.Pointer(&request[0]), uint64(len(request))},
		response: ioVec{unsafe.Pointer(&response[0]), uint64(len(response))},
	}
	// The kernel writes behind these pointers: nothing may move meanwhile.
	var pinner runtime.Pinner
	pinner.Pin(&request[0])
	pinner.Pin(&response[0])
	pinner.Pin(&asked)
	defer pinner.Unpin()
	_, _, code := syscall.Syscall(syscall.SYS_IOCTL, device, nsmIoctl, uintptr(unsafe.Pointer(&asked)))
	if code != 0 {
		return nil, fmt.Errorf("the request failed: %w", code)
	}
	// The driver puts the length of the answer where the capacity was.
	if asked.response.length == 0 || asked.response.length > responseMaxBytes {
		return nil, errors.New("the answer has no length")
	}
	return response[:asked.response.length], nil
}
