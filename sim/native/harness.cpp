// SPDX-License-Identifier: BSD-2-Clause
// Owns the clock and the ports of a verilated endpoint: whole packets, messages and DMA accesses in,
// records of what happened out. harness.py declares the interface for Python.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"
#ifdef AMP_WAVES
#include AMP_WAVES_HEADER
#endif

namespace {

constexpr unsigned WIDTH = AMP_DATA_WIDTH;
constexpr unsigned LANES = WIDTH / 32;
constexpr unsigned BYTES = WIDTH / 8;
constexpr uint64_t PAGE = 4096;
constexpr unsigned LONGEST_BURST = 256;
constexpr uint64_t PERIOD_PS = AMP_CLOCK_PERIOD_NS * 1000ull;

constexpr unsigned log2_of(unsigned value) { return value > 1 ? 1 + log2_of(value / 2) : 0; }

// Verilator gives ports of different widths different types.
using Words = uint32_t[LANES > 4 ? LANES : 4];

template <typename Port>
void drive(Port& port, const uint32_t* words) {
    port = static_cast<Port>(words[0]);
}
void drive(QData& port, const uint32_t* words) {
    port = words[0] | static_cast<uint64_t>(words[1]) << 32;
}
template <size_t N>
void drive(VlWide<N>& port, const uint32_t* words) {
    std::memcpy(port.data(), words, 4 * N);
}
template <typename Port>
void drive(Port& port, uint64_t value) {
    port = static_cast<Port>(value);
}

template <typename Port>
void sample(const Port& port, uint32_t* words) {
    words[0] = port;
}
void sample(const QData& port, uint32_t* words) {
    words[0] = static_cast<uint32_t>(port);
    words[1] = static_cast<uint32_t>(port >> 32);
}
template <size_t N>
void sample(const VlWide<N>& port, uint32_t* words) {
    std::memcpy(words, port.data(), 4 * N);
}
template <typename Port>
uint64_t value_of(const Port& port) {
    return static_cast<uint64_t>(port);
}

uint64_t ones(unsigned bits) { return bits < 64 ? (1ull << bits) - 1 : ~0ull; }

// What a record reports; sim/native/harness.py has the same numbers.
enum class Kind : uint8_t {
    TLP_SENT = 1,
    TLP_ACCEPTED,
    MESSAGE_SENT,
    MESSAGE_ACCEPTED,
    READ_DONE,
    WRITE_DONE,
    HOST_RESET,
    QUEUE_READY,
    STREAM_ERROR,
};

struct __attribute__((packed)) Record {
    uint8_t kind;
    uint8_t detail;
    uint16_t reserved;
    uint32_t length;
    uint64_t cycle;
};

struct Packet {
    uint32_t header[4];
    std::vector<uint32_t> payload;
    // Its acceptance ends the run.
    bool wakes;
};

struct Message {
    uint8_t fifo;
    std::vector<uint8_t> data;
};

// An access of a device, and one of the bursts that it is made of.
struct Access {
    uint64_t address;
    std::vector<uint8_t> data;
    unsigned bursts_left = 0;
    uint8_t response = 0;
};

struct Burst {
    std::shared_ptr<Access> access;
    uint64_t address;
    unsigned beats;
    unsigned done = 0;
};

// Byte `offset` of the access is the first one of beat `beat` of `burst`, in lane `lane`.
struct Span {
    size_t offset;
    unsigned lane;
    unsigned count;
};

Span span_of(const Burst& burst, unsigned beat) {
    const uint64_t word = burst.address / BYTES + beat;
    const uint64_t first = std::max(burst.address, word * BYTES);
    const uint64_t end = std::min(burst.access->address + burst.access->data.size(),
                                  (word + 1) * BYTES);
    return {static_cast<size_t>(first - burst.access->address), static_cast<unsigned>(first % BYTES),
            static_cast<unsigned>(end - first)};
}

// What a run ended with: the records, which stay until the next run; cycles so far; and of these the
// latest in which nothing moved.
struct Status {
    const uint8_t* records;
    uint64_t size;
    uint64_t cycle;
    uint64_t idle;
};

class Endpoint {
  public:
    Endpoint(const char* waves, uint64_t first_wave, uint64_t last_wave)
        : context_(new VerilatedContext),
          top_(new Vtop(context_.get())),
          first_wave_(first_wave),
          last_wave_(last_wave) {
#ifdef AMP_WAVES
        if (waves != nullptr) {
            context_->traceEverOn(true);
            trace_.reset(new AMP_WAVES);
            trace_->set_time_resolution("1ps");
            top_->trace(trace_.get(), 99);
            waves_ = waves;
        }
#else
        (void)waves;
#endif
        top_->clk = 0;
        top_->rst = 1;
        top_->tx_tlp_ready = 1;
        top_->m_axis_msg_tready = 1;
        top_->s_axi_dma_rready = 1;
        top_->s_axi_dma_bready = 1;
        top_->s_axi_dma_arburst = 1;
        top_->s_axi_dma_awburst = 1;
        top_->s_axi_dma_arsize = log2_of(BYTES);
        top_->s_axi_dma_awsize = log2_of(BYTES);
        top_->eval();
    }

    ~Endpoint() {
#ifdef AMP_WAVES
        close_waves();
#endif
        top_->final();
    }

    void reset(unsigned cycles) {
        reset_cycles_ = cycles;
        packets_.clear();
        messages_.clear();
        reads_.clear();
        read_bursts_.clear();
        writes_.clear();
        write_data_.clear();
        write_bursts_.clear();
        packet_beat_ = message_beat_ = 0;
        receiving_ = false;
        received_message_.clear();
        message_accepted_ = false;
        dirty_ = true;
    }

    void send_tlp(const void* header, const void* payload, unsigned dwords, bool wakes) {
        Packet packet;
        packet.wakes = wakes;
        std::memcpy(packet.header, header, sizeof packet.header);
        packet.payload.resize(dwords);
        std::memcpy(packet.payload.data(), payload, 4 * dwords);
        packets_.push_back(std::move(packet));
        dirty_ = true;
    }

    // End a run once all packets are accepted.
    void wake_when_drained() { wake_when_drained_ = true; }

    void send_message(uint8_t fifo, const uint8_t* data, unsigned size) {
        messages_.push_back({fifo, {data, data + size}});
        dirty_ = true;
    }

    void read(uint64_t address, uint64_t size) {
        auto access = std::make_shared<Access>();
        access->address = address;
        access->data.resize(size);
        split(access, reads_);
        dirty_ = true;
    }

    void write(uint64_t address, const uint8_t* data, uint64_t size) {
        auto access = std::make_shared<Access>();
        access->address = address;
        access->data.assign(data, data + size);
        split(access, writes_);
        dirty_ = true;
    }

    // Run until something has happened that a task may wait for, for `cycles` at most, or until nothing
    // has moved at any port for `idle` cycles.
    uint64_t run(uint64_t cycles, uint64_t idle, Status& status) {
        output_.clear();
        wake_ = false;
        const uint64_t end = cycle_ + cycles;
        while (cycle_ < end) {
            idle_ = step() ? 0 : idle_ + 1;
            // What follows in the next cycles joins what has happened in this one.
            if (wake_ && !more_follows_) break;
            if (idle_ >= idle) break;
        }
        status = {output_.data(), output_.size(), cycle_, idle_};
        return output_.size();
    }

    Vtop& top() { return *top_; }

  private:
    template <typename Queue>
    void split(const std::shared_ptr<Access>& access, Queue& queue) {
        const uint64_t end = access->address + access->data.size();
        uint64_t address = access->address;
        while (address != end) {
            const uint64_t page_end = (address / PAGE + 1) * PAGE;
            const uint64_t longest = (address / BYTES + LONGEST_BURST) * BYTES;
            const uint64_t burst_end =
                std::min(end - address, std::min(page_end - address, longest - address)) + address;
            const unsigned beats = (burst_end - 1) / BYTES - address / BYTES + 1;
            queue.push_back({access, address, beats});
            ++access->bursts_left;
            address = burst_end;
        }
    }

    // Records that `wakes` is false of are read with the next one that ends a run.
    void report(Kind kind, uint8_t detail, const void* data, size_t size, bool wakes = true) {
        wake_ |= wakes;
        const Record record{static_cast<uint8_t>(kind), detail, 0, static_cast<uint32_t>(size),
                            cycle_};
        const auto* head = reinterpret_cast<const uint8_t*>(&record);
        output_.insert(output_.end(), head, head + sizeof record);
        const auto* bytes = static_cast<const uint8_t*>(data);
        output_.insert(output_.end(), bytes, bytes + size);
        output_.resize((output_.size() + 7) & ~size_t{7});
    }

    void fail(const std::string& text) {
        report(Kind::STREAM_ERROR, 0, text.data(), text.size());
    }

    // One clock cycle. Returns whether anything moved.
    bool step() {
        if (dirty_) drive_inputs();
        top_->clk = 0;
        top_->eval();
        dump(0);
        more_follows_ = false;
        const bool in_reset = top_->rst;
        bool moved = in_reset;
        if (!in_reset) {
            // Sampled before the edge, applied behind it: an input must not change what others see.
            moved = sample_outputs();
            // Reported behind `device_queue_ready`, which counts the message one cycle later.
            if (message_accepted_) report(Kind::MESSAGE_ACCEPTED, 0, nullptr, 0);
            message_accepted_ = false;
            moved |= sample_inputs();
        }
        if (reset_cycles_ != 0 && --reset_cycles_ == 0) dirty_ = true;
        top_->clk = 1;
        top_->eval();
        dump(PERIOD_PS / 2);
        ++cycle_;
        return moved;
    }

    void drive_inputs() {
        dirty_ = false;
        top_->rst = reset_cycles_ != 0;
        Words words{};
        top_->rx_tlp_valid = !packets_.empty();
        if (!packets_.empty()) {
            const Packet& packet = packets_.front();
            const size_t at = packet_beat_ * LANES;
            const size_t count = std::min<size_t>(LANES, packet.payload.size() - at);
            std::memcpy(words, packet.payload.data() + at, 4 * count);
            drive(top_->rx_tlp_data, words);
            drive(top_->rx_tlp_hdr, packet.header);
            drive(top_->rx_tlp_strb, ones(count));
            top_->rx_tlp_sop = packet_beat_ == 0;
            top_->rx_tlp_eop = at + count == packet.payload.size();
        }
        top_->s_axis_msg_tvalid = !messages_.empty();
        if (!messages_.empty()) {
            const Message& message = messages_.front();
            const size_t at = message_beat_ * BYTES;
            const size_t count = std::min<size_t>(BYTES, message.data.size() - at);
            std::memset(words, 0, sizeof words);
            std::memcpy(words, message.data.data() + at, count);
            drive(top_->s_axis_msg_tdata, words);
            drive(top_->s_axis_msg_tkeep, ones(count));
            drive(top_->s_axis_msg_tdest, message.fifo);
            top_->s_axis_msg_tlast = at + count == message.data.size();
        }
        top_->s_axi_dma_arvalid = !reads_.empty();
        if (!reads_.empty()) {
            top_->s_axi_dma_araddr = reads_.front().address;
            top_->s_axi_dma_arlen = reads_.front().beats - 1;
        }
        top_->s_axi_dma_awvalid = !writes_.empty();
        if (!writes_.empty()) {
            top_->s_axi_dma_awaddr = writes_.front().address;
            top_->s_axi_dma_awlen = writes_.front().beats - 1;
        }
        top_->s_axi_dma_wvalid = !write_data_.empty();
        if (!write_data_.empty()) {
            const Burst& burst = write_data_.front();
            const Span span = span_of(burst, burst.done);
            std::memset(words, 0, sizeof words);
            std::memcpy(reinterpret_cast<uint8_t*>(words) + span.lane,
                        burst.access->data.data() + span.offset, span.count);
            drive(top_->s_axi_dma_wdata, words);
            drive(top_->s_axi_dma_wstrb, ones(span.count) << span.lane);
            top_->s_axi_dma_wlast = burst.done + 1 == burst.beats;
        }
    }

    bool sample_inputs() {
        bool moved = false;
        if (top_->rx_tlp_valid) {
            moved = true;
            if (top_->rx_tlp_ready) {
                dirty_ = true;
                ++packet_beat_;
                if (top_->rx_tlp_eop) {
                    packet_beat_ = 0;
                    const bool wakes = packets_.front().wakes;
                    packets_.pop_front();
                    const bool drains = packets_.empty() && wake_when_drained_;
                    if (drains) wake_when_drained_ = false;
                    report(Kind::TLP_ACCEPTED, 0, nullptr, 0, wakes || drains);
                }
            }
        }
        if (top_->s_axis_msg_tvalid) {
            moved = true;
            if (top_->s_axis_msg_tready) {
                dirty_ = true;
                ++message_beat_;
                if (top_->s_axis_msg_tlast) {
                    message_beat_ = 0;
                    messages_.pop_front();
                    message_accepted_ = more_follows_ = true;
                }
            }
        }
        if (top_->s_axi_dma_wvalid && top_->s_axi_dma_wready) {
            dirty_ = moved = true;
            if (++write_data_.front().done == write_data_.front().beats) write_data_.pop_front();
        }
        if (top_->s_axi_dma_arvalid && top_->s_axi_dma_arready) {
            dirty_ = moved = true;
            read_bursts_.push_back(reads_.front());
            reads_.pop_front();
        }
        if (top_->s_axi_dma_awvalid && top_->s_axi_dma_awready) {
            dirty_ = moved = true;
            write_bursts_.push_back(writes_.front());
            // Its data follows its address.
            write_data_.push_back(writes_.front());
            writes_.pop_front();
        }
        return moved || !read_bursts_.empty() || !write_bursts_.empty();
    }

    bool sample_outputs() {
        bool moved = false;
        if (top_->tx_tlp_valid) {
            moved = more_follows_ = true;
            take_tlp();
        }
        if (top_->m_axis_msg_tvalid) {
            moved = more_follows_ = true;
            take_message();
        }
        if (top_->s_axi_dma_rvalid) {
            moved = more_follows_ = true;
            take_read();
        }
        if (top_->s_axi_dma_bvalid) {
            moved = more_follows_ = true;
            take_response();
        }
        if (top_->host_reset && !host_reset_) report(Kind::HOST_RESET, 0, nullptr, 0);
        host_reset_ = top_->host_reset;
        const uint8_t ready = value_of(top_->device_queue_ready);
        if (ready != queue_ready_) report(Kind::QUEUE_READY, ready, nullptr, 0);
        queue_ready_ = ready;
        return moved;
    }

    void take_tlp() {
        Words words;
        const uint64_t strb = value_of(top_->tx_tlp_strb);
        const unsigned count = __builtin_popcountll(strb);
        const bool last = top_->tx_tlp_eop;
        if (static_cast<bool>(top_->tx_tlp_sop) == receiving_) {
            fail(receiving_ ? "tx_tlp: sop before the eop of the previous packet"
                            : "tx_tlp: beat without sop outside a packet");
        }
        if (top_->tx_tlp_sop) {
            received_.clear();
            received_.resize(4);
            sample(top_->tx_tlp_hdr, received_.data());
        }
        if (strb != ones(count) || (!last && count != LANES)) {
            fail("tx_tlp: strb is not contiguous from lane 0, or not full before eop");
        }
        sample(top_->tx_tlp_data, words);
        received_.insert(received_.end(), words, words + count);
        receiving_ = !last;
        if (!last) return;
        // Host software learns of data by an interrupt, a write of one dword, or by an answer.
        const bool is_data = (received_[3] >> 24 & 0x5F) == 0x40 && received_.size() > 5;
        report(Kind::TLP_SENT, 0, received_.data(), 4 * received_.size(), !is_data);
    }

    void take_message() {
        Words words;
        sample(top_->m_axis_msg_tdata, words);
        const unsigned count = __builtin_popcountll(value_of(top_->m_axis_msg_tkeep));
        const auto* bytes = reinterpret_cast<const uint8_t*>(words);
        received_message_.insert(received_message_.end(), bytes, bytes + count);
        if (top_->m_axis_msg_tlast) {
            report(Kind::MESSAGE_SENT, value_of(top_->m_axis_msg_tdest), received_message_.data(),
                   received_message_.size());
            received_message_.clear();
        }
    }

    void take_read() {
        if (read_bursts_.empty()) return fail("s_axi_dma: read data without an address");
        Burst& burst = read_bursts_.front();
        Access& access = *burst.access;
        const Span span = span_of(burst, burst.done);
        Words words;
        sample(top_->s_axi_dma_rdata, words);
        std::memcpy(access.data.data() + span.offset,
                    reinterpret_cast<uint8_t*>(words) + span.lane, span.count);
        access.response = std::max<uint8_t>(access.response, top_->s_axi_dma_rresp);
        const bool last = ++burst.done == burst.beats;
        if (last != static_cast<bool>(top_->s_axi_dma_rlast)) fail("s_axi_dma: wrong rlast");
        if (!last) return;
        if (--access.bursts_left == 0) {
            report(Kind::READ_DONE, access.response, access.data.data(), access.data.size());
        }
        read_bursts_.pop_front();
    }

    void take_response() {
        if (write_bursts_.empty()) return fail("s_axi_dma: write response without an address");
        Access& access = *write_bursts_.front().access;
        access.response = std::max<uint8_t>(access.response, top_->s_axi_dma_bresp);
        if (--access.bursts_left == 0) report(Kind::WRITE_DONE, access.response, nullptr, 0);
        write_bursts_.pop_front();
    }

    void dump(uint64_t offset_ps) {
#ifdef AMP_WAVES
        if (trace_ == nullptr || cycle_ < first_wave_ || cycle_ > last_wave_) {
            if (trace_ != nullptr && cycle_ > last_wave_) close_waves();
            return;
        }
        if (!trace_->isOpen()) trace_->open(waves_.c_str());
        trace_->dump(cycle_ * PERIOD_PS + offset_ps);
#else
        (void)offset_ps;
#endif
    }

#ifdef AMP_WAVES
    void close_waves() {
        if (trace_ != nullptr && trace_->isOpen()) trace_->close();
    }
    std::unique_ptr<AMP_WAVES> trace_;
    std::string waves_;
#endif

    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Vtop> top_;
    uint64_t first_wave_;
    uint64_t last_wave_;
    std::vector<uint8_t> output_;
    uint64_t cycle_ = 0;
    uint64_t idle_ = 0;
    unsigned reset_cycles_ = 0;
    bool dirty_ = true;
    bool more_follows_ = false;
    bool wake_ = false;
    bool wake_when_drained_ = false;
    bool host_reset_ = false;
    uint8_t queue_ready_ = 0;

    std::deque<Packet> packets_;
    size_t packet_beat_ = 0;
    std::deque<Message> messages_;
    size_t message_beat_ = 0;
    bool message_accepted_ = false;
    std::deque<Burst> reads_;
    std::deque<Burst> read_bursts_;
    std::deque<Burst> writes_;
    std::deque<Burst> write_data_;
    std::deque<Burst> write_bursts_;

    bool receiving_ = false;
    std::vector<uint32_t> received_;
    std::vector<uint8_t> received_message_;
};

}  // namespace

extern "C" {

Endpoint* amp_new(const char* waves, uint64_t first_wave, uint64_t last_wave) {
    return new Endpoint(waves, first_wave, last_wave);
}

void amp_delete(Endpoint* endpoint) { delete endpoint; }

void amp_reset(Endpoint* endpoint, unsigned cycles) { endpoint->reset(cycles); }

void amp_send_tlp(Endpoint* endpoint, const void* header, const void* payload, unsigned dwords,
                  bool wakes) {
    endpoint->send_tlp(header, payload, dwords, wakes);
}

void amp_wake_when_drained(Endpoint* endpoint) { endpoint->wake_when_drained(); }

void amp_send_message(Endpoint* endpoint, uint8_t fifo, const void* data, unsigned size) {
    endpoint->send_message(fifo, static_cast<const uint8_t*>(data), size);
}

void amp_read(Endpoint* endpoint, uint64_t address, uint64_t size) {
    endpoint->read(address, size);
}

void amp_write(Endpoint* endpoint, uint64_t address, const void* data, uint64_t size) {
    endpoint->write(address, static_cast<const uint8_t*>(data), size);
}

uint64_t amp_run(Endpoint* endpoint, uint64_t cycles, uint64_t idle, Status* status) {
    return endpoint->run(cycles, idle, *status);
}

uint64_t amp_value(Endpoint* endpoint, unsigned which) {
    switch (which) {
        AMP_VALUES
        default: return 0;
    }
}
}
